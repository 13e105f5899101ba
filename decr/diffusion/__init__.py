"""The mathematics of diffusion: schedules, samplers, fusion, losses and the noise field."""
