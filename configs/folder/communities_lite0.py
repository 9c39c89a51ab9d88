# As scan_lite0.py, for a folder whose kinds of images differ much in number: as many heads that
# know communities of the neighbour graph, which may have any size, vote, too.
_base_ = 'scan_lite0.py'

model = dict(type='CommunitySCAN', num_community_heads=32)
