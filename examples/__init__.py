"""Small programs that use the tracker. A test runs each of them, and the documentation shows them."""
