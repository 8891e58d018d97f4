"""Train MobileNetV2 on CIFAR-10 by transfer learning: the whole recipe as one Keras script, `python recipe.py`.

Phase 1 trains a new head on the frozen backbone. Phase 2 also trains the top of the backbone. The script saves the
model of the best epoch in model.keras and the curves in curves.html. It needs tensorflow, pillow and plotly.
"""

import keras
import numpy as np
import plotly.graph_objects as go
from keras import layers
from PIL import Image

# %% Settings
TRAIN_IMAGES, VALIDATION_FRACTION = 50_000, 0.2  # the validation images are split off the training images
ALPHA = 0.5  # width multiplier of each layer
IMAGE_SIZE = 96  # the 32x32 images are enlarged to this side
WEIGHTS = "imagenet"  # None: random initialization
SCALING = "minus_one_to_one"  # as on ImageNet; "zero_to_one" is a common mistake
DROPOUT, DENSE_UNITS, L2 = 0.5, 128, 1e-4  # of the head
AUGMENTATION = 1.0  # strength; 1: rotation ±15°, shift ±10%, zoom ±10%, brightness ±20%, half mirrored; 0: off
HEAD_EPOCHS, HEAD_BATCH_SIZE, HEAD_LEARNING_RATE = 10, 256, 1e-3
FINE_TUNE_EPOCHS, BATCH_SIZE, FINE_TUNE_LEARNING_RATE = 10, 64, 1e-4
FINE_TUNE_BLOCKS = 4  # inverted residual blocks unfrozen from the top, 0 to 17
BATCH_NORM = "inference"  # in phase 2: "inference", "adapt" (momentum 0.95), "training" (0.999, a common mistake)
OPTIMIZER = "adam"  # "adam", "adamw"
SCHEDULE = "plateau"  # "plateau", "cosine" (after a warm-up)
EARLY_STOPPING_PATIENCE, REDUCE_PATIENCE, REDUCE_FACTOR = 5, 2, 0.5
LABEL_SMOOTHING, SEED = 0.0, 1


# %% Data
def split(labels):
    """Return the indices of the training and validation images, stratified by class."""
    rng = np.random.default_rng(SEED)
    classes = [rng.permutation(np.flatnonzero(labels == label))[: TRAIN_IMAGES // 10] for label in range(10)]
    held_out = round(TRAIN_IMAGES // 10 * VALIDATION_FRACTION)
    return np.concatenate([rows[held_out:] for rows in classes]), np.concatenate([rows[:held_out] for rows in classes])


def augment(images, draws):
    """Augment images (n, 32, 32, 3) by `draws` (n, 6) in [-1, 1], in one affine resampling; three would blur them."""
    angle, scale = np.radians(15 * AUGMENTATION * draws[:, 0]), 1 / (1 + 0.1 * AUGMENTATION * draws[:, 3])
    cos, sin, mirror = scale * np.cos(angle), scale * np.sin(angle), np.where(draws[:, 4] < 0, -1, 1)
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    x, y = 48 + 3.2 * AUGMENTATION * draws[:, 1:3].T  # the point of the padded image that moves to the center
    matrices = np.stack([a, b, x - 16 * (a + b), d, e, y - 16 * (d + e)], axis=1).tolist()
    padded = np.pad(images, ((0, 0), (32, 32), (32, 32), (0, 0)), "symmetric")  # (n, 96, 96, 3)
    moved = [
        Image.fromarray(image).transform((32, 32), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        for image, matrix in zip(padded, matrices, strict=True)
    ]
    return np.clip(np.stack(moved) * (1 + 0.2 * AUGMENTATION * draws[:, 5, None, None, None]), 0, 255)


class Augmented(keras.utils.PyDataset):
    """Batches of training images, shuffled and augmented again in each epoch."""

    def __init__(self, images, labels, batch_size):
        super().__init__()
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.rng = np.random.default_rng(SEED)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size :][: self.batch_size]
        draws = self.rng.uniform(-1, 1, (len(rows), 6))
        return augment(self.images[rows], draws) if AUGMENTATION else self.images[rows], self.labels[rows]

    def on_epoch_end(self):
        self.order = self.rng.permutation(len(self.images))


# %% Network
def build_model():
    """Return the network, pixels in [0, 255] (n, 32, 32, 3) -> probabilities (n, 10), and its frozen backbone."""
    backbone = keras.applications.MobileNetV2((IMAGE_SIZE, IMAGE_SIZE, 3), ALPHA, include_top=False, weights=None)
    if WEIGHTS:
        side = 224 if ALPHA > 1 else max(IMAGE_SIZE, 96)  # input sizes for which Keras provides weights
        pretrained = keras.applications.MobileNetV2((side, side, 3), ALPHA, include_top=False, weights=WEIGHTS)
        backbone.set_weights(pretrained.get_weights())
    backbone.trainable = False
    pixels = keras.Input((32, 32, 3))
    scaled = pixels / 255 if SCALING == "zero_to_one" else keras.applications.mobilenet_v2.preprocess_input(pixels)
    x = backbone(layers.Resizing(IMAGE_SIZE, IMAGE_SIZE)(scaled))  # (n, 3, 3, 1280) from 96 px
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(DROPOUT)(x)
    x = layers.Dense(DENSE_UNITS, "relu", kernel_regularizer=keras.regularizers.L2(L2))(x)
    return keras.Model(pixels, layers.Dense(10, "softmax")(x)), backbone


def unfreeze(backbone):
    """Unfreeze the top FINE_TUNE_BLOCKS blocks and the last convolution."""
    backbone.trainable, names = True, [layer.name for layer in backbone.layers]
    first = names.index(f"block_{17 - FINE_TUNE_BLOCKS}_expand") if FINE_TUNE_BLOCKS < 17 else 0
    for i, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, layers.BatchNormalization)
        layer.trainable = i >= first and not (is_norm and BATCH_NORM == "inference")
        if is_norm and i >= first and BATCH_NORM == "adapt":
            layer.momentum = 0.95


# %% Training
def fit(model, training, validation, epochs, batch_size, rate, callbacks):
    """Train the unfrozen layers, restore the weights of the best epoch, and return the curves."""
    batches = Augmented(*training, batch_size)
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=EARLY_STOPPING_PATIENCE, restore_best_weights=True)
    callbacks = [*callbacks, stop]
    if SCHEDULE == "plateau":
        callbacks.append(keras.callbacks.ReduceLROnPlateau("val_accuracy", REDUCE_FACTOR, REDUCE_PATIENCE))
    else:
        warm_up = max(1, epochs * len(batches) // 10)
        steps = max(1, epochs * len(batches) - warm_up)
        rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=rate, warmup_steps=warm_up)
    optimizer = keras.optimizers.Adam(rate) if OPTIMIZER == "adam" else keras.optimizers.AdamW(rate, 0.004)
    if OPTIMIZER == "adamw":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model.fit(batches, epochs=epochs, validation_data=validation, callbacks=callbacks, verbose=2).history


def main(data=None, callbacks=()):
    """Train both phases on CIFAR-10, or on `data` of the same form, and print the test accuracy."""
    keras.utils.set_random_seed(SEED)
    (images, labels), (test_images, test_labels) = data or keras.datasets.cifar10.load_data()
    one_hot = keras.utils.to_categorical(labels, 10)
    training, validation = ((images[rows], one_hot[rows]) for rows in split(labels[:, 0]))
    model, backbone = build_model()
    model.summary()
    callbacks = [keras.callbacks.ModelCheckpoint("model.keras", "val_accuracy", save_best_only=True), *callbacks]
    curves = []  # one per phase
    if HEAD_EPOCHS:
        curves += [fit(model, training, validation, HEAD_EPOCHS, HEAD_BATCH_SIZE, HEAD_LEARNING_RATE, callbacks)]
    if FINE_TUNE_BLOCKS and FINE_TUNE_EPOCHS:
        unfreeze(backbone)
        curves += [fit(model, training, validation, FINE_TUNE_EPOCHS, BATCH_SIZE, FINE_TUNE_LEARNING_RATE, callbacks)]
    model = keras.models.load_model("model.keras")  # the best epoch of both phases
    _, accuracy = model.evaluate(test_images, keras.utils.to_categorical(test_labels, 10), verbose=0)
    print(f"Test accuracy: {accuracy:.1%}")
    lines = {name: [y for phase in curves for y in phase[name]] for name in ("accuracy", "val_accuracy")}
    go.Figure([go.Scatter(y=y, name=name) for name, y in lines.items()]).write_html("curves.html")
    return model


if __name__ == "__main__":
    main()
