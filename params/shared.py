# Parameters that several notebooks share, and those that name a registry of the package (`room.module.NAME`), for which
# the names in it are put. A notebook's parameters cell has a line of the same name, with a default of its own; `make
# clean` writes its comment from here. A comment that starts with `here:` is that notebook's own and stays.

# where, and with what chance
output: str = "outputs/demo"  # folder for figures, tables and the store
seed: int = 0  # seed of every random choice
threads: int = 2  # TensorFlow threads; part of a result's provenance

# corpora
corpus: str = "synthetic"  # corpus that is shown, masked or learned; one of: corpora.datasets.CORPORA
data_root: str = ""  # folder of that corpus; empty for the built-in one
options: str = ""  # options of that corpus as `rbdm data check --option` takes them, with blanks between
limit: int = 2000  # training images, stratified; 0: all (built-in corpus: how many are drawn)
difficulty: float = 0.3  # how far pose, light, blur and noise of the built-in faces vary, 0 to 2
gaze_corpus: str = "synthetic"  # corpus of the images that were looked at; one of: corpora.datasets.CORPORA
gaze_split: str = "test"  # part of that corpus; one of: corpora.datasets.SPLITS

# the Trainer
trainer_corpus: str = "synthetic"  # corpus of the Trainer; one of: corpora.datasets.CORPORA
trainer_root: str = ""  # folder of that corpus; empty for the built-in one
trainer_options: str = ""  # options of the corpus in trainer_root, likewise
trainer: str = "InceptionV3"  # architecture (networks.architectures.ARCHITECTURES) or path of a Keras model (.keras,
    # .h5)
trainer_size: int = 75  # side of the Trainer's input in pixels; a model from a file has its own
trainer_scaling: str = "auto"  # range of the input of a model from a file: auto, networks.trainer.SCALINGS, or a
    # function in trainer_module
trainer_classes: str = ""  # classes of a model from a file, in the order of its outputs: anger disgust fear happy sad
    # surprise neutral; empty: those of its corpus
trainer_trust: str = ""  # names of layers of a model from a file whose code may be run; empty: none
trainer_module: str = ""  # Python file with the layers of one's own that such a model needs; it is run; empty: none
trainer_epochs: int = 5  # epochs of training; 0: an untrained network, as a control
trainer_limit: int = 2000  # training images, stratified; 0: all (built-in corpus: how many are drawn)
trainer_momentum: str = "0.9"  # momentum of batch normalisation: keras (Keras's own), or a number
trainer_weights: str = "balanced"  # weight of a class in the loss; one of: networks.training.CLASS_WEIGHTS
trainer_augment: bool = False  # the augmentation of the paper; without it the built-in faces are learned in fewer
    # epochs

# relevance and masks
method: str = "deep_taylor"  # how decisions are explained; one of: explain.methods.EXPLAINERS
mask: str = "mean"  # what training images show, the last three as controls; one of: masking.MASKS, masking.CONTROLS
fixations: int = 0  # most relevant pixels that the perceptive mask takes for fixations; 0: as many as people fixated on
    # average
recordings: str = ""  # folder with one gaze recording per person, for that average; empty for simulated annotators
reading: str = "diameter"  # what the visual span is of the perceived area; one of: gaze.perception.SPAN_READINGS
algorithm: str = "ivt"  # how fixations are found; one of: gaze.fixations.ALGORITHMS

# the Trainee
architecture: str = "MobileNetV2"  # the Trainee; one of: networks.architectures.ARCHITECTURES
batch_size: int = 32  # images in a batch
momentum: str = "0.9"  # batch normalisation's momentum: keras (Keras's own, 0.999 in MobileNetV2, as in the paper),
    # or a number
class_weights: str = "balanced"  # weight of a class in the loss; one of: networks.training.CLASS_WEIGHTS
augment: bool = False  # the augmentation of the paper; without it the built-in faces are learned in fewer epochs
fuse: bool = False  # also let Trainer and Trainee decide together (section 6)
label: str = ""  # put into the names of tables and figures, to tell runs apart that differ in other parameters
