"""What fastchat serves over plain HTTP: the page, health, and clear answers to everything else."""
