"""What the monitor passes on of predictions to others, behind everybody's back."""
