"""The VAE's other faces: fill in what is hidden, sample, walk between pictures, steer a latent, explain.

Everything here imports the codec and nothing of the codec imports it. README.md says which term of a
lecture on variational autoencoders is which function.
"""
