"""What makes a labelled file's figures lie, looked for before anything is trained on it."""
