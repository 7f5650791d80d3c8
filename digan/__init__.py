"""DIGAN: a GAN whose generator represents a video as a function of (x, y, t), an implicit neural representation.

Yu et al., "Generating Videos with Dynamics-aware Implicit Generative Adversarial Networks", ICLR 2022. The package needs
only torch and numpy. Sample videos from a trained generator:

    from digan.generator_io import load_generator
    from digan.sampling import sample
    from digan.times import frame_times

    generator = load_generator("outputs/train/generator")
    videos = sample(generator, seeds=[0, 1], times=frame_times(16))  # uint8 [2, 16, 3, R, R]
"""
