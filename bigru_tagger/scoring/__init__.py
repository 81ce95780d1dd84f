"""Systems over gold data: predictions, and seqeval's numbers of them."""
