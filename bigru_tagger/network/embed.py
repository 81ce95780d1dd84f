"""Tensors to vectors: one module for each choice of embedding. No spaCy in here."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .encoder import BiGRUEncoder
from .layout import Layout

# 2^20 bits: a million values would fill it, a hundred thousand leave one false alarm in 80.
_FILTER_BITS = 20


class HashEmbedding(nn.Module):
    """Embeds attributes without a vocabulary: a value's vector is the sum of four hashed rows.

    The hashing trick of Svenstrup et al. 2017, arXiv 1709.03933. A value that training never saw
    would get the sum of other values' rows; so a Bloom filter (Bloom 1970) keeps which values were
    seen, and the others share one learned vector, which some tokens get in training too.
    """

    unknown: Tensor
    seen: Tensor
    multipliers: Tensor
    sizes: Tensor
    offsets: Tensor

    def __init__(
        self, rows: Sequence[int], width: int, unknown_rate: float, correction: bool = False
    ) -> None:
        """Allocate one table for all attributes.

        rows (Sequence[int]): the size of each attribute's part of the table.
        width (int): width of each attribute's vector.
        unknown_rate (float): chance of a word's attribute to count as unknown in training.
        correction (bool): begin with vectors of zero, and leave that of values that training never
            saw at zero: for vectors that are added to others.
        """
        super().__init__()
        self.table = nn.Embedding(sum(rows), width)
        if correction:
            nn.init.zeros_(self.table.weight)
            unknown = torch.zeros(len(rows), width, device="cpu")
            self.register_buffer("unknown", unknown, persistent=False)
        else:
            # The sum of four rows has the variance of one row of an ordinary table of this scale.
            nn.init.normal_(self.table.weight, std=0.5 / width**0.5)
            self.unknown = nn.Parameter(torch.zeros(len(rows), width))
        self.unknown_rate = unknown_rate
        self.width = len(rows) * width
        self.register_buffer("seen", torch.zeros(1 << _FILTER_BITS, dtype=torch.bool))
        # What no file stores has its numbers also where all else is on the meta device.
        constants = torch.Generator("cpu").manual_seed(0)
        shape = (len(rows), 4)
        multipliers = torch.randint(1 << 62, shape, generator=constants, device="cpu") | 1
        sizes = torch.tensor(rows, device="cpu").unsqueeze(1)
        self.register_buffer("multipliers", multipliers, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Embed attributes.

        values (Tensor): 64-bit hashes of their values, int64 (n_words, n_attrs).
        RETURNS (Tensor): vectors, (n_words, n_attrs * width).
        """
        rows, bits = self.hash(values)
        if self.training:
            self.seen[bits] = True
            known = torch.rand(values.shape, device=values.device) >= self.unknown_rate
        else:
            known = self.seen[bits].all(2)
        vectors: Tensor = self.table(rows).sum(2)  # (n_words, n_attrs, width)
        return torch.where(known.unsqueeze(2), vectors, self.unknown).flatten(1)

    def hash(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Hash values to rows of the table and bits of the filter.

        values (Tensor): 64-bit hashes of attributes, int64 (n_words, n_attrs).
        RETURNS (Tuple[Tensor, Tensor]): both int64 (n_words, n_attrs, 4).
        """
        # Multiply-shift hashing (Dietzfelbinger et al. 1997): the high bits of the product.
        products = values.unsqueeze(2) * self.multipliers
        rows = ((products >> 33) & 0x7FFFFFFF) % self.sizes + self.offsets
        bits = (products >> (64 - _FILTER_BITS)) & ((1 << _FILTER_BITS) - 1)
        return rows, bits


class CharacterCNN(nn.Module):
    """A convolution over each word's characters, and the maximum over its positions.

    Ma and Hovy 2016, arXiv 1603.01354, without an activation, as max-pooling is one.
    """

    def __init__(self, rows: int, width: int, filters: int, window: int) -> None:
        """Allocate the table and the filters.

        rows (int): size of the character table; row 0 pads.
        width (int): width of a character's vector.
        filters (int): number of filters, the width of the word's vector.
        window (int): characters that a filter sees at once, odd.
        """
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.convolution = nn.Conv1d(width, filters, window, padding=window // 2)
        self.width = filters

    def forward(self, characters: Tensor) -> Tensor:
        """Embed words by their characters.

        characters (Tensor): rows of the table, 0 behind the end, int64 (n_words, n_characters).
        RETURNS (Tensor): vectors, (n_words, filters).
        """
        if characters.device.type == "cpu" and len(characters):
            # Positions behind the longest word cost time. A GPU would have to wait for its length.
            characters = characters[:, : int((characters != 0).sum(1).max())]
        n_characters = characters.shape[1]
        size = self.convolution.kernel_size[0]
        padded = nn.functional.pad(self.table(characters), (0, 0, size // 2, size // 2))
        windows = torch.cat([padded[:, i : i + n_characters] for i in range(size)], 2)
        # One product: as fast as a convolution on a CPU, and on a GPU without the time that cuDNN
        # takes to choose an algorithm for each new shape.
        weight = self.convolution.weight.transpose(1, 2).flatten(1)  # (filters, size * width)
        features = nn.functional.linear(windows, weight, self.convolution.bias)
        padding = (characters == 0).unsqueeze(2)
        return features.masked_fill(padding, -torch.inf).amax(1)


class StaticEmbedding(nn.Module):
    """What embeddings of static vectors share: a vector for words without one, and corrections.

    The vectors stay as they are. What training may add to a word's vector is a correction, hashed
    by the word's lower-cased form, so that fine-tuning needs no vocabulary either. It begins at
    zero, and is zero for words that training never saw, but for the filter's false alarms, see
    `HashEmbedding`. Weight decay pulls it back to zero, and so the vector back to the static one.
    To fine-tune a table of vectors in full is, but for the hashing, this same function under
    another decay, one that pulls vectors to zero.
    """

    def __init__(self, width: int, correction_rows: int) -> None:
        """Allocate what is learned.

        width (int): width of the static vectors.
        correction_rows (int): size of the table of corrections; 0 for none.
        """
        super().__init__()
        self.unknown = nn.Parameter(torch.zeros(width))
        self.correction: HashEmbedding | None = None
        if correction_rows:
            self.correction = HashEmbedding([correction_rows], width, 0.0, correction=True)
        self.width = width

    def finish(self, vectors: Tensor, known: Tensor, forms: Tensor) -> Tensor:
        """Fill the rows of words without a vector, and correct all rows.

        vectors (Tensor): static vectors, (n_words, width).
        known (Tensor): whether the word has one, bool (n_words, 1).
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        filled = torch.where(known, vectors, self.unknown)
        return filled if self.correction is None else filled + self.correction(forms)


class VectorEmbedding(StaticEmbedding):
    """Passes static vectors on, with a learned vector for words that have none."""

    def __init__(self, width: int, correction_rows: int = 0) -> None:
        """Allocate what is learned.

        width (int): width of the static vectors; 0 where the vocab has none.
        correction_rows (int): see `StaticEmbedding`.
        """
        super().__init__(width, correction_rows)

    def forward(self, vectors: Tensor, forms: Tensor) -> Tensor:
        """Fill the rows of words without a vector.

        vectors (Tensor): static vectors, zeros for a word without one, (n_words, width).
        forms (Tensor): hash of each word's lower-cased form, int64 (n_words, 1).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        return self.finish(vectors, vectors.any(1, keepdim=True), forms)


class CharacterGRU(nn.Module):
    """A bidirectional GRU over each word's characters, and its last state in both directions.

    Lample et al. 2016, arXiv 1603.01360, with GRUs as Yang et al. 2017, arXiv 1703.06345.
    """

    def __init__(self, rows: int, width: int, hidden: int) -> None:
        """Allocate the table and the GRU.

        rows (int): size of the character table; row 0 pads.
        width (int): width of a character's vector.
        hidden (int): units of each direction.
        """
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.encoder = BiGRUEncoder(width, [hidden])
        self.width = self.encoder.width

    def forward(self, characters: Tensor) -> Tensor:
        """Embed words by their characters.

        characters (Tensor): rows of the table, 0 behind the end, int64 (n_words, n_characters).
        RETURNS (Tensor): vectors, (n_words, 2 * hidden).
        """
        used = characters != 0
        lengths = used.sum(1)
        layout = Layout(lengths.tolist(), characters.device)
        states = self.encoder(self.table(characters[used]), layout)  # (n_used, 2 * hidden)
        forward, backward = states.chunk(2, 1)
        ends = lengths.cumsum(0)
        return torch.cat([forward[ends - 1], backward[ends - lengths]], 1)


class VectorTable(StaticEmbedding):
    """Looks static vectors up in a table, with a learned vector for words that it lacks."""

    keys: Tensor
    table: Tensor

    def __init__(self, n_words: int, width: int, half: bool, correction_rows: int = 0) -> None:
        """Allocate the table.

        n_words (int): words in the table.
        width (int): width of the vectors.
        half (bool): keep them in half precision.
        correction_rows (int): see `StaticEmbedding`.
        """
        super().__init__(width, correction_rows)
        self.register_buffer("keys", torch.zeros(n_words, dtype=torch.int64))
        dtype = torch.float16 if half else torch.float32
        self.register_buffer("table", torch.zeros(n_words, width, dtype=dtype))

    def forward(self, candidates: Tensor) -> Tensor:
        """Look words up.

        candidates (Tensor): hashes of each word, the best first, and that of its lower-cased form
            second, int64 (n_words, n_candidates).
        RETURNS (Tensor): vectors, (n_words, width).
        """
        rows, known = look_up(self.keys, candidates)
        return self.finish(self.table[rows].float(), known.unsqueeze(1), candidates[:, 1:2])


class ClusterEmbedding(nn.Module):
    """Embeds the prefixes of a word's path in a tree of clusters (Miller et al. 2004)."""

    keys: Tensor
    clusters: Tensor
    rows: Tensor

    def __init__(
        self, n_words: int, n_clusters: int, n_prefixes: int, n_rows: int, width: int
    ) -> None:
        """Allocate the tables.

        n_words (int): words that have a cluster.
        n_clusters (int): number of clusters.
        n_prefixes (int): number of prefixes.
        n_rows (int): distinct prefixes of all lengths, with one more each for unknown words.
        width (int): width of each prefix's vector.
        """
        super().__init__()
        self.register_buffer("keys", torch.zeros(n_words, dtype=torch.int64))
        self.register_buffer("clusters", torch.zeros(n_words, dtype=torch.int32))
        rows = torch.zeros(n_clusters + 1, n_prefixes, dtype=torch.int64)
        self.register_buffer("rows", rows)
        self.table = nn.Embedding(n_rows, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.width = n_prefixes * width

    def forward(self, candidates: Tensor) -> Tensor:
        """Look words up.

        candidates (Tensor): hashes of each word, the best first, int64 (n_words, n_candidates).
        RETURNS (Tensor): vectors, (n_words, n_prefixes * width).
        """
        found, known = look_up(self.keys, candidates)
        cluster = torch.where(known, self.clusters[found].long(), len(self.rows) - 1)
        vectors: Tensor = self.table(self.rows[cluster])  # (n_words, n_prefixes, width)
        return vectors.flatten(1)


def look_up(keys: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Find each word's first candidate that is a key.

    keys (Tensor): keys in ascending order, at least one, int64 (n_keys,).
    candidates (Tensor): int64 (n_words, n_candidates).
    RETURNS (Tuple[Tensor, Tensor]): the row of the key, int64 (n_words,), and whether there is
        one, bool (n_words,).
    """
    rows = torch.searchsorted(keys, candidates.contiguous()).clamp_(max=len(keys) - 1)
    hits = keys[rows] == candidates
    first = hits.to(torch.uint8).argmax(1, keepdim=True)
    return rows.gather(1, first).squeeze(1), hits.any(1)


class GazetteerEmbedding(nn.Module):
    """Marks the phrases of lists in the text, and embeds the marks.

    For each list, a token begins, is inside, or ends a phrase, or is one by itself; a phrase
    within or across a longer one of the same list does not count (Ratinov and Roth 2009; the
    marks as Chiu and Nichols 2016, arXiv 1511.08308).
    """

    keys: Tensor
    lists: Tensor

    def __init__(self, lists: Sequence[str], n_phrases: int, width: int, max_words: int) -> None:
        """Allocate the tables.

        lists (Sequence[str]): names of the lists.
        n_phrases (int): phrases on all lists.
        width (int): width of a token's vector.
        max_words (int): tokens that a phrase may take up.
        """
        super().__init__()
        self.register_buffer("keys", torch.zeros(n_phrases, dtype=torch.int64))
        self.register_buffer("lists", torch.zeros(n_phrases, dtype=torch.int64))
        self.n_lists = len(lists)
        self.max_words = max_words
        self.linear = nn.Linear(4 * len(lists), width)
        self.width = width

    def forward(self, hashes: Tensor, layout: Layout) -> Tensor:
        """Embed tokens by the phrases that they are part of.

        hashes (Tensor): hash and power of each token, int64 (n_tokens, 2).
        layout (Layout): the tokens' sequences.
        RETURNS (Tensor): vectors, (n_tokens, width).
        """
        marks = self.mark(hashes, layout)
        vectors: Tensor = self.linear(marks.flatten(1).to(self.linear.weight.dtype))
        return vectors

    def mark(self, hashes: Tensor, layout: Layout) -> Tensor:
        """Find the phrases.

        hashes (Tensor): hash and power of each token, int64 (n_tokens, 2).
        layout (Layout): the tokens' sequences.
        RETURNS (Tensor): for each list whether the token begins, is inside, ends, or is a phrase,
            bool (n_tokens, n_lists, 4).
        """
        marks = torch.zeros(len(hashes), self.n_lists, 4, dtype=torch.bool, device=hashes.device)
        covered = torch.zeros(len(hashes), self.n_lists, dtype=torch.bool, device=hashes.device)
        bits = torch.arange(self.n_lists, device=hashes.device)
        phrases = list(self._phrases(hashes, layout))
        for n_words, starts, found in reversed(phrases):
            on_list = ((self.lists[found].unsqueeze(1) >> bits) & 1).bool()  # (n_found, n_lists)
            span = starts.unsqueeze(1) + torch.arange(n_words, device=hashes.device)
            on_list &= ~covered[span].any(1)
            if n_words == 1:
                marks[starts, :, 3] |= on_list
            else:
                marks[starts, :, 0] |= on_list
                for inside in span.T[1:-1]:
                    marks[inside, :, 1] |= on_list
                marks[span[:, -1], :, 2] |= on_list
            for token in span.T:
                covered[token] |= on_list
        return marks

    def _phrases(self, hashes: Tensor, layout: Layout) -> Iterator[tuple[int, Tensor, Tensor]]:
        # For each number of words, the first token of each phrase and the phrase's row.
        grams = hashes[:, 0]
        # White space is a token to spaCy; a phrase may run over it, but not begin or end with it.
        solid = hashes[:, 1] != 1
        for n_words in range(1, min(self.max_words, len(hashes)) + 1):
            if n_words > 1:
                last = hashes[n_words - 1 :]
                grams = grams[:-1] * last[:, 1] + last[:, 0]
            whole = layout.sequence[: len(grams)] == layout.sequence[n_words - 1 :]
            whole &= solid[: len(grams)] & solid[n_words - 1 :]
            rows, known = look_up(self.keys, grams.unsqueeze(1))
            starts = torch.nonzero(whole & known).squeeze(1)
            if len(starts):
                yield n_words, starts, rows[starts]


class DenseEmbedding(nn.Module):
    """Passes vectors on that another network computed, one per token."""

    def __init__(self, width: int) -> None:
        """Note the width.

        width (int): width of the vectors.
        """
        super().__init__()
        self.width = width

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the vectors.

        vectors (Tensor): vectors, (n_tokens, width).
        RETURNS (Tensor): the same vectors.
        """
        return vectors


EMBEDDINGS: dict[str, type[nn.Module]] = {
    "hash": HashEmbedding,
    "characters": CharacterCNN,
    "character_states": CharacterGRU,
    "vectors": VectorEmbedding,
    "vector_table": VectorTable,
    "clusters": ClusterEmbedding,
    "gazetteer": GazetteerEmbedding,
    "dense": DenseEmbedding,
}
