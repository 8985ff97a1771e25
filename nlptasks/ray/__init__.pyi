from nlptasks.ray.cluster import Cluster as Cluster
from nlptasks.ray.datasets import map as map
from nlptasks.ray.pool import actors as actors
