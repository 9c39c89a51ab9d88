# IDEC: DEC that goes on reconstructing while it clusters.
_base_ = '../dec/dec_lite0_rows.py'

gamma = 0.1

model = dict(gamma=gamma)
