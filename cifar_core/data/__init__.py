"""The images: CIFAR-10 or the synthetic set, how they are split, and how they are augmented."""
