"""All models side by side: tuned on the same folds, behind the same scaler, measured on the same clients."""
