# Names of the pages.

page-chat = 聊天
page-library = 角色库
page-models = 模型
page-gpu = GPU
page-settings = 设置
