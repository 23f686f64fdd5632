"""A training step of the thesis's network under Keras; tests/bench/step.py asks for one with every line it sends."""

import os
import sys
import time

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import numpy as np
import tensorflow as tf
from keras import layers

threads = int(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(threads)
network = keras.Sequential([keras.Input((48, 48, 1))])
for filters, kernel in ((64, 3), (128, 5), (512, 3), (512, 3)):
    network.add(layers.Conv2D(filters, kernel, padding="same"))
    for layer in (layers.BatchNormalization(), layers.Activation("relu"), layers.MaxPooling2D(2), layers.Dropout(0.25)):
        network.add(layer)
network.add(layers.Flatten())
for units in (256, 512):
    for layer in (layers.Dense(units), layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(0.25)):
        network.add(layer)
network.add(layers.Dense(7, activation="softmax"))
assert network.count_params() == 4_474_759 + 3_968
network.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
random = np.random.default_rng(0)
faces, emotion = random.random((64, 48, 48, 1), np.float32), random.integers(0, 7, 64)

for _ in sys.stdin:
    began = time.perf_counter()
    network.train_on_batch(faces, emotion)
    print(time.perf_counter() - began, f"Keras {keras.__version__}, TensorFlow {tf.__version__}", flush=True)
