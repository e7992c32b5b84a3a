"""ShapeNet's class numbers in words."""

CLASSES = {
    "02691156": "airplane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "display",
    "03636649": "lamp",
    "03691459": "speaker",
    "04090263": "rifle",
    "04256520": "sofa",
    "04379243": "table",
    "04401088": "phone",
    "04530566": "vessel",
}


def class_name(number: str) -> str:
    """The name of a ShapeNet class, or `number` itself where it is none of the 13."""
    return CLASSES.get(number, number)
