"""The bits that each layer needs: sensitivities, converter energies, and an assignment within a budget."""
