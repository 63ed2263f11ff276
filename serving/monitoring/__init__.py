"""The monitor role: takes in predictions and labels, and judges every model by windows."""
