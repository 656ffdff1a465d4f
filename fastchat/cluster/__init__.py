"""Several nodes on one store and one bus are one chat: what they tell each other."""
