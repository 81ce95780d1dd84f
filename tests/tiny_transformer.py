"""Transformers of a few thousand weights, with tokenizers that are trained here, in folders."""

from functools import cache

import torch
from samples import TEXTS
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

LETTERS = [f"{letter} {letter}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@cache  # training breaks ties at random
def word_pieces(n_tokens=90):
    """A tokenizer of BERT's kind: lower-cased, with `##` before what continues a word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_tokens, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *LETTERS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


@cache
def byte_pairs(n_tokens=300):
    """A tokenizer of RoBERTa's kind, which tells words apart by the space before them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([*TEXTS, *LETTERS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def save_bert(folder, *, seed=0, positions=32, **settings):
    """Write a model of BERT's kind with its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = word_pieces()
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=positions, **{**SIZES, **settings}
    )
    return save(folder, BertModel(config), tokenizer)


def save_roberta(folder, *, positions=34):
    """Write a model of RoBERTa's kind, which counts positions from 2."""
    torch.manual_seed(0)
    tokenizer = byte_pairs()
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=positions, pad_token_id=1, **SIZES
    )
    return save(folder, RobertaModel(config), tokenizer)


def save(folder, model, tokenizer):
    for parameter in model.parameters():  # the usual small weights would leave all words alike
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
