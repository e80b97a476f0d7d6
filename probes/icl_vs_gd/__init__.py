"""The probe icl-vs-gd: whether a language model learns in context as gradient descent on its own weights would."""
