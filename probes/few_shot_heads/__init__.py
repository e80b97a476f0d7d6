"""The probe `few-shot-heads`: which attention heads carry few-shot learning, and what their ablation costs."""
