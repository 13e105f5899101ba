"""Small synthetic scenes, and the generator that makes them from a seed."""
