"""What a run would do and cost, told before it does."""
