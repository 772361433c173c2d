"""What nodes share: broker, presence and rates, each as an interface with an in-memory and a Redis implementation."""
