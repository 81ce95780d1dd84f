"""Several seeds of one recipe, and the comparison of recurrent layers."""
