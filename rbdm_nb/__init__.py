"""Relevance-Based Data Masking and its kin. The public names below are handed on lazily (PEP 562):
`import rbdm_nb` imports no TensorFlow, `from rbdm_nb import Explainer` imports what the Explainer needs."""
__version__ = "0.1.0"
from .project import same_clone

same_clone()

_PUBLIC = {
    "reproducibility": "deterministic fingerprint",
    "store": "Store",
    "corpora.datasets": "EXPRESSIONS Corpus load check",
    "corpora.folder": "from_arrays from_tfdata",
    "networks.architectures": "ARCHITECTURES build preprocess",
    "networks.training": "CrossEntropy fit predict",
    "networks.trainer": "TrainerSettings trainer_from",
    "explain.rules": "METHODS Method Rule Noise Path",
    "explain.relevance": "Explainer",
    "explain.starts": "Against",
    "explain.cams": "CAMS CamExplainer",
    "explain.extremal": "ExtremalExplainer",
    "explain.methods": "EXPLAINERS explainer maps",
    "explain.functions": "function_maps combined_maps",
    "explain.localisation": "localisation randomisation",
    "gaze.perception": "Setup fixation_heatmap zero_measure spearman cosine_distance",
    "gaze.study": "LabellingStudy",
    "gaze.attention": "read_study table1",
    "masking": "MASKS make_mask corpus_masks negative_mask mean_mask perceptive_mask random_mask",
    "explorer": "show explore",
    "trainee": "Condition train run_condition",
    "humans.pairs": "PairSettings VOTES fit_pairs pair_logits vote",
    "humans.clicks": "ClickStudy pair_design",
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = [*_HOME]


def __getattr__(name):
    if name not in _HOME: raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    return globals().setdefault(name, getattr(import_module(f"{__name__}.{_HOME[name]}"), name))


def __dir__(): return sorted({*globals(), *_HOME})
