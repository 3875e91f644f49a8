"""Merchants, stores and terminals from a file: read, judged row by row, shown, and then put on the books in the background."""
