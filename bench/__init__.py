"""What Remediator promises about speed, measured: `python -m bench`, each figure beside a bare receiver."""
