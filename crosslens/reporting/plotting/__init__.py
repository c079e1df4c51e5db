"""Write every figure and table as PDF, PNG and the CSV it was drawn from, in one style."""
