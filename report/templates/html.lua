-- What the web page needs and pandoc's HTML does not have: tables that scroll sideways in their own box.
local function with_rows(tbl, rows)
  rows = rows:gsub('<td align="(%a+)">', '<td style="text-align: %1;">')
  local code = pandoc.write(pandoc.Pandoc{tbl}, 'html5')
  return pandoc.RawBlock('html', (code:gsub('(<tbody>).*(</tbody>)', function(open, close)
    return open .. rows .. close
  end)))
end

function Table(tbl)
  local rows = tbl.attributes.rows  -- that pandoc has not read, if any
  tbl.attributes.rows = nil
  tbl.attributes.widths = nil  -- of the PDF; a browser finds its own
  local name = pandoc.utils.stringify(tbl.caption.long):match '^[^.]*'
  local key = tbl.identifier:gsub(':', '-')
  -- Ordered pairs on purpose: a table with named keys is written in another order on each run.
  return pandoc.Div({rows == '' and tbl or with_rows(tbl, rows)}, pandoc.Attr(key .. '-box', {'table-box'},
    {{'tabindex', '0'}, {'role', 'region'}, {'aria-label', name}}))
end
