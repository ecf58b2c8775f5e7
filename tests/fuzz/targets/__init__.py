"""One module for each door that strangers' bytes come through."""
