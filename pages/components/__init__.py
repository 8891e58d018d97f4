"""Components that the pages draw."""
