"""What makes the site beside Sphinx: pages that are generated from the code, and the blocks of pages for tests."""
