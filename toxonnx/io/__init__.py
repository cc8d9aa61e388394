"""Where rows come from and where they go: one module per file format."""
