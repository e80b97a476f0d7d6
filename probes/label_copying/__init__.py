"""The probe label-copying: does the first layer copy each label to its input, where both are tokens of their own?"""
