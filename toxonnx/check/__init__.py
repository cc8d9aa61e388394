"""What makes a labelled file's metrics lie, looked for before anything is trained on it."""
