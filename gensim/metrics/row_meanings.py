"""What the rows of an evaluation are, in words that stand wherever they are shown."""

ROW_MEANINGS = {
    "no_change": "Control cells of the same context as the prediction: that the perturbation does nothing.",
    "training_mean": "The same control cells, moved by the mean effect of the training conditions.",
    "mean_response": (
        "The same control cells, moved by the average effect of the training conditions of the context, the same for "
        "every condition: the baseline of the challenges' scores. (training_mean knows the effect of a condition that "
        "training had.)"
    ),
    "gaussian_map": "The same control cells, stretched by the map between Gaussians around the training mean.",
    "nearest": "The same control cells, moved by the effect of the nearest training conditions.",
    "ridge": "The same control cells, moved by a ridge regression's effect.",
    "kernel_ridge": "The same control cells, moved by a kernel ridge regression's effect.",
    "random_embedding": (
        "A lower bound: the same control cells, moved by the best regression over the training conditions on vectors "
        "of random numbers, which know nothing. An embedding of perturbations has to beat it."
    ),
    "idealised": (
        "An upper bound, not a prediction: the same control cells, moved by the effect of the nearest training "
        "conditions in principal components of all effects, those of the scored conditions included."
    ),
    "replicate": "The other half of the real cells: what repeating the experiment would reach, the ceiling.",
    "model": "The simulated cells.",
}
