"""What the scripts of tools/ share. Standard library only: it runs before anything is installed."""
