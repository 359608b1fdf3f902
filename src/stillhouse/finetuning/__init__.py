"""Fine-tuning jobs as OpenAI's API has them: each a run of the queue, trained by the engine or by the upstream of its model."""
