"""The probe deep-features: is attention one step of gradient descent on the features that an embedding makes?"""
