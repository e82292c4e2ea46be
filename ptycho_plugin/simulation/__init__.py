"""The simulated experiment: sample, illumination, diffraction, camera, and the world they make."""
