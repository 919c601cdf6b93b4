"""Training platforms: one order, followed to its end, on SageMaker, Azure Machine Learning or Vertex AI."""
