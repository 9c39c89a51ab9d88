# PCL v2 on ImageNet (Table 3): mocov2_r50_imagenet.py and its contrast with prototypes; 20 of 200
# epochs without them. k-means of 1.28 million rows into 100,000 clusters runs on the CPU here: the
# public code has it on a GPU, where an epoch waits less for it.
_base_ = '../mocov2/mocov2_r50_imagenet.py'

temperature = 0.2

model = dict(type='PCL', num_prototypes=(25000, 50000, 100000), temperature=temperature)
custom_hooks = [dict(type='FeatureClustersHook', warmup=0.1)]
