"""gd-alignment: does this model learn in context by gradient descent?"""
