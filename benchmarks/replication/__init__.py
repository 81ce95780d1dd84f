"""Train several seeds of one recipe, and compare recurrent layers."""
