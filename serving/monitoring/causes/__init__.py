"""Why a model does worse: each cause is looked for in a process of its own."""
