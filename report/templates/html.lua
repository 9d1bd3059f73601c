-- What the web page needs and pandoc's HTML does not have: tables that scroll sideways in their own box.
function Table(tbl)
  tbl.attributes.widths = nil  -- of the PDF; a browser finds its own
  local name = pandoc.utils.stringify(tbl.caption.long):match '^[^.]*'
  local key = tbl.identifier:gsub(':', '-')
  -- Ordered pairs on purpose: a table with named keys is written in another order on each run.
  return pandoc.Div({tbl}, pandoc.Attr(key .. '-box', {'table-box'},
    {{'tabindex', '0'}, {'role', 'region'}, {'aria-label', name}}))
end
