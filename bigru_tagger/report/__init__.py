"""Reports on evaluations, comparisons, corpora and the gates of a GRU."""
