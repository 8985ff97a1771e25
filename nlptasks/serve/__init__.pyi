from nlptasks.serve.app import build_app as build_app
from nlptasks.serve.server import DrainingServer as DrainingServer
from nlptasks.serve.server import serve as serve
from nlptasks.serve.settings import ServeSettings as ServeSettings
from nlptasks.serve.settings import read_settings as read_settings
