"""The peers that Vigil is raced against, each in its own process."""
