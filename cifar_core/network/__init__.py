"""MobileNetV2 without Keras: its table, its weights, its files.

architecture.py   shapes, parameters, multiply-adds of every block
weights.py        ImageNet's, bundled or random first weights, as named arrays
litert.py         writes LiteRT files from named weights, and runs them
network_check.py  whether a stranger's model files are what a run of that configuration would have made
"""
